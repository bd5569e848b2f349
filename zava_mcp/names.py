"""Names for generated customers: real ones of many cultures, in ASCII, syllables to compose others from, and places."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST_NAMES = _words(
    """
    Aaron Abebe Abena Abigail Adam Adanna Adel Adriana Agnes Ahmed Aiko Aisha Akira Alan Albert Alejandra Alena
    Alice Alicia Alina Alma Amara Amelia Amina Amir Amit Ana Anders Andrea Angela Anika Anita Anna Anton Antonio
    Anya Arash Ariel Arjun Arthur Asha Astrid Aurora Ayesha Aylin Ayumi Azra Babak Barbara Beatriz Benjamin Bianca
    Bilal Birgit Bjorn Bogdan Boris Branka Brenda Brian Bruno Camila Carla Carlos Carmen Caroline Catalina Cecilia
    Celine Cesar Chandra Charles Chiara Chidi Chinedu Chloe Christopher Clara Claudia Colin Connor Cristina Cyrus
    Daiki Dalia Damian Daniel Daria David Deepak Delphine Denis Diana Diego Dina Dmitri Dominik Dorothy Duncan Edgar
    Edith Eduardo Efua Eitan Elena Eleni Elias Elif Elise Eliza Emeka Emil Emilia Emma Emre Enrique Erik Esi Esther
    Ethan Eva Evelyn Fabian Fadi Farah Farid Fatima Felix Fernando Finn Fiona Florian Francesca Frank Freya Gabriel
    Gala Garth Gemma George Gerald Giulia Gloria Goran Grace Greta Guillermo Gunnar Gustavo Habib Hadi Hana Hannah
    Haruka Hassan Hector Heidi Helena Henry Hiroshi Hugo Ibrahim Ida Ife Igor Ilse Imani Ines Ingrid Irina Iris
    Isaac Isabel Ismail Ivan Ivana Jacob Jada Jamal James Jan Jasmine Javier Jelena Jens Joao Joel Johan Jorge
    Josephine Joy Juan Judith Julia Jun Kaito Kamala Karim Karin Kasper Kateryna Kavita Kayode Keiko Kenji Kerstin
    Khalid Kim Kiran Klara Kofi Kwame Lara Lars Laszlo Latifa Laura Leila Leon Leona Lien Lina Linda Ling Liora
    Louis Lucas Lucia Luis Luka Lydia Maeve Magda Mahmoud Maja Malik Manuel Marcel Marco Margaret Maria Marina Mario
    Marta Martin Mateo Matilda Maya Mehmet Mei Melina Michael Miguel Mikael Milan Mina Minh Miriam Mohamed Monika
    Moses Nadia Nadine Naoko Natalia Nathan Neha Nia Nicolas Nikhil Nils Nina Noam Noor Nora Nour Odette Ola Oleg
    Oliver Olivia Omar Oscar Otto Pablo Paolo Parvati Patrick Paul Pedro Penelope Petra Phuong Pierre Piotr Priya
    Rachel Radu Rafael Rahul Raisa Ramon Rania Ravi Rebecca Renata Ricardo Rina Robert Rosa Roxana Ruben Ruth Sabine
    Sakura Salma Samir Samuel Sandra Sanjay Sara Sasha Sean Selma Sergio Shirin Sigrid Silvia Simon Sofia Soren
    Stefan Stella Sven Sylvie Tamar Tanya Tariq Tatiana Teresa Thabo Thea Theodore Thomas Tiago Tomas Tova Uma Umar
    Ursula Valentina Vera Victor Vidya Viktor Vinh Violet Walter Wei Wilma Xavier Ximena Yaw Yara Yasmin Yehuda Ying
    Yoko Yusuf Yvonne Zahra Zainab Zeynep Zoe Zoltan Zuzana
    """
)

LAST_NAMES = _words(
    """
    Abadi Abbott Abe Acosta Adams Adeyemi Agarwal Aguilar Ahmadi Ahmed Akhtar Alexander Ali Almeida Alvarez Amari
    Andersen Anderson Andrews Aoki Araujo Arslan Asante Aydin Baker Bakker Balogun Banerjee Barbosa Barnes Barros
    Bauer Becker Bell Bennett Berg Bernard Bianchi Blake Bondarenko Boone Bose Bosman Boyd Brandt Brennan Brooks
    Bruno Burke Burns Cabrera Calderon Campbell Cano Cardoso Carlsen Carter Castillo Castro Celik Chan Chandra
    Chavez Chen Cho Chopra Clarke Cohen Coleman Collins Conti Cooper Cortez Costa Craig Cruz Cunningham Dahl Dalton
    Danso Davies Delgado Demir Desai Diallo Diaz Dimitrov Dixon Dogan Doyle Dubois Duffy Dumont Duran Eklund Elliott
    Eriksen Esposito Estrada Evans Falk Farah Farouk Fernandes Ferrari Fischer Fleming Flores Fontaine Forsberg
    Foster Fournier Fraser Fujita Gallagher Gallo Garcia Gardner Garza Georgiou Ghosh Gibson Gill Goldberg Gomez
    Gordon Gordeev Graham Greene Greer Grimaldi Guerrero Gupta Gutierrez Haas Haddad Hakimi Hall Hansen Harris
    Hashimoto Hassan Hayes Heller Henry Hernandez Herrera Hoang Hoffman Holm Horvat Hosseini Howard Huang Hughes
    Hussain Huynh Ibarra Ibrahim Ingram Ishikawa Ito Ivanov Iyer Jackson Jain Jansen Jensen Jimenez Joshi Jung
    Kamara Kaplan Kapoor Karlsson Katz Kaya Keller Kelly Kennedy Khan Khatri Kimura Kirk Klein Kobayashi Koch Kovacs
    Kowalski Kozak Kramer Kruger Kumar Kuznetsov Lam Lambert Larsen Lau Laurent Leclerc Lee Lehmann Leung Levin
    Lewis Lim Lin Lindholm Lopez Lund Macdonald Madsen Mahmood Malik Mancini Mansour Marchetti Marin Markovic Marsh
    Martinez Mason Mazur Mbeki Mendes Mendoza Mensah Meyer Miller Mishra Mitchell Mohammed Molina Moore Morales
    Moreau Moretti Morgan Mori Moyo Mukherjee Murphy Murray Naidoo Nair Nakamura Nasser Navarro Ncube Ndiaye Nelson
    Neumann Nguyen Nielsen Nikolaidis Nkosi Nolan Novak Nunez Nwosu Obi Ochoa Odhiambo Ogawa Okafor Okoye Oliveira
    Olsen Ortega Osei Otieno Owens Ozturk Pacheco Palmer Papadakis Park Parker Patel Pavlov Payne Pereira Perez
    Perry Petersen Petrov Pham Phillips Pinto Popescu Porter Powell Prasad Quinn Rahman Ramos Rao Reddy Reed Reyes
    Ricci Richter Riley Rivera Roberts Rocha Rojas Romano Rosen Rossi Roy Ruiz Russo Ryan Saito Salazar Saleh
    Sanchez Sandhu Santos Sato Schmidt Schneider Schwartz Scott Serrano Shah Shapiro Sharma Shimizu Silva Simmons
    Singh Sokolov Solberg Soto Stein Stewart Suarez Sullivan Svensson Szabo Takahashi Tan Tanaka Tembo Thapa
    Thompson Torres Toure Tran Tremblay Turner Ueda Usman Vargas Vasquez Vega Verma Vogel Volkov Wagner Walsh Wang
    Ward Watanabe Weber Weiss Werner Wong Wright Wu Yamada Yang Yilmaz Yoon Young Yusuf Zamora Zapata Zhang Zhou
    Zimmerman Zulu
    """
)

OPENINGS = _words("b br c ch d dr f fl g gr h j k kl l m n p pr qu r s sh sk st t th tr v w y z")
VOWELS = _words("a e i o u a e i o ai ea ia ou")
# Most composed names end in a vowel.
CLOSINGS = (*_words("l n r s m d k x th nd rn ll"), *[""] * 8)

STREETS = _words(
    """
    Apple Ash Bay Beach Birch Bridge Canal Castle Cedar Cherry Church Clover College Creek Eagle East Elm Farm Field
    Forest Garden Grove Harbor Hazel Hill Holly Ivy Jasmine King Lake Laurel Lily Main Maple Market Meadow Mill Moss
    North Oak Ocean Olive Orchard Park Peach Pine Pond Prairie Queen River Rose School South Spring Station Stone
    Summer Sunset Temple Union Valley Violet Walnut West Willow Winter Wood
    """
)
ROADS = ("Street", "Avenue", "Road", "Lane", "Drive", "Court", "Way")

# City, state, and the first three digits of its zip codes.
_CITIES = """
    Albuquerque, NM, 871; Atlanta, GA, 303; Austin, TX, 787; Baltimore, MD, 212; Boise, ID, 837;
    Boston, MA, 021; Buffalo, NY, 142; Charleston, SC, 294; Chicago, IL, 606; Cleveland, OH, 441;
    Dallas, TX, 752; Denver, CO, 802; Des Moines, IA, 503; Detroit, MI, 482; El Paso, TX, 799; Fargo, ND, 581;
    Fresno, CA, 937; Hartford, CT, 061; Honolulu, HI, 968; Houston, TX, 770; Indianapolis, IN, 462;
    Kansas City, MO, 641; Las Vegas, NV, 891; Little Rock, AR, 722; Los Angeles, CA, 900; Louisville, KY, 402;
    Madison, WI, 537; Memphis, TN, 381; Miami, FL, 331; Minneapolis, MN, 554; Nashville, TN, 372;
    New Orleans, LA, 701; New York, NY, 100; Norfolk, VA, 235; Oakland, CA, 946; Omaha, NE, 681;
    Philadelphia, PA, 191; Phoenix, AZ, 850; Pittsburgh, PA, 152; Portland, OR, 972; Providence, RI, 029;
    Raleigh, NC, 276; Reno, NV, 895; Sacramento, CA, 958; Salt Lake City, UT, 841; San Antonio, TX, 782;
    San Diego, CA, 921; San Jose, CA, 951; Seattle, WA, 981; Spokane, WA, 992; Tampa, FL, 336; Tucson, AZ, 857;
    Tulsa, OK, 741; Wichita, KS, 672
"""
CITIES = tuple(tuple(part.strip() for part in city.split(",")) for city in _CITIES.split(";"))
